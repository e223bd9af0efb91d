"""ScanNet: its facts, its files, its preprocessing, and synthetic scans in its layout."""

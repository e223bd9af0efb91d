"""Labels for a point cloud or mesh of one's own."""

"""From a store to training chunks, batches and the columns of whole scenes."""

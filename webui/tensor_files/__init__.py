"""Files that hold tensors, as they are: read by our own code, which can run nothing in them."""

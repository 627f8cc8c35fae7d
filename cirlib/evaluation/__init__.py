"""One evaluation for every method. Floor 2: knows types and kernels, and no method."""

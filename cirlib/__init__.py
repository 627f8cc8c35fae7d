"""cirlib: composed image retrieval, in the open. Importing it chooses no device, downloads nothing and prints nothing."""

__version__ = "0.1.0"

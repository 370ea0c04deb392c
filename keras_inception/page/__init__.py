"""A static site that runs exported files in the browser."""

"""Videos: the public resource; inside it is a job."""

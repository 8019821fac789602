"""The queue side: jobs in SQL, blobs in storage, and the worker that runs one at a time."""

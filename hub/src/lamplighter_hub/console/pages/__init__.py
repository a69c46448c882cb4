"""One module a page: read the request, ask the services, render."""

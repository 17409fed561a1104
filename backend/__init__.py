"""The backend: protocol, server, jobs and the fit. Importing this package is cheap; only the fit imports torch."""

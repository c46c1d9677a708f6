"""What the pages show, as values: runs, versions, deployments, drift, data sets, commands."""

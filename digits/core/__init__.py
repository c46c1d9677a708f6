"""What everything uses: errors, files, parameters, the command line, the number of workers."""

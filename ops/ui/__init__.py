"""The pages of the pipeline: live on this computer, or as a folder of files."""

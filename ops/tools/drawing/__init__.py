"""Charts, pictures, tables and a style sheet, for the report and the pages."""

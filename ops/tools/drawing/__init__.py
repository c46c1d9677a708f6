"""What the report and the pages are drawn with: charts, pictures, tables, a style sheet."""

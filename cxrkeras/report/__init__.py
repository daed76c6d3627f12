"""The report: one self-contained HTML file. Tables, pictures and maps in, text out; opens no run."""

"""What people look at: status lines, tables, plots, the offline report, the exported model."""

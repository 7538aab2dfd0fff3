"""What people look at: the report, the page of experiments and the playground."""

"""What people get of a trained network: folders of pictures, tables, videos."""

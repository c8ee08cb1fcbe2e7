"""Pictures for people: coloured labels, legends, confusion matrices."""

"""What studies share: targets, students, labels of their ends, laws of width."""

"""Users' files: read, checked, turned into versioned controls, and compiled into what the loop follows."""

"""What a run survives: kills, damage, full disks, hostile files, many scenes."""

"""What things take: measured, printed, and kept with the machine they were read on; `keyvid bench`."""

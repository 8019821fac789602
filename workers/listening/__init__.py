"""The listener: a process that holds only a localizer, on the CPU, and says at once what is heard in a sound."""

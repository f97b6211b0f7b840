"""What puts the processes into containers: the probe, and scripts that build and check the images."""

"""What `cuebx doctor` looks at, one subject a file. A check returns findings; a problem comes with its fix."""

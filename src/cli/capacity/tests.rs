//! The command on files and streams, from arguments to what is printed.

//! (to be written: tasks)

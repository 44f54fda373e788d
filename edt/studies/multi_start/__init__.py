"""Multi-start: many narrow networks against one wide one."""

"""The built-in plugins, one idea a module; ``defaults`` lists them in the order they run in."""

// Empty: its presence lets this package declare functions without bodies, which reach.go links to.

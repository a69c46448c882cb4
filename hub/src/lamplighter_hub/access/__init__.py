"""Who may ask what: tokens, sign-in links, console sessions and roles."""

"""Stand-ins for Stripe and Brevo that keep books and misbehave on demand; README.md has the addresses and conventions.

`stripe.create_stripe_app` and `brevo.create_brevo_app` make the applications, `serving` runs them, and
`python -m local_stack.sandbox` does both.
"""

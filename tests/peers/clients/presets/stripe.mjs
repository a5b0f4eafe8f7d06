// The official Stripe SDK.
import Stripe from "stripe";

async function* calls() {
    const stripe = new Stripe(process.env.STRIPE_API_KEY, { maxNetworkRetries: 0, telemetry: false });
    yield await stripe.customers.list();
    yield await stripe.customers.create({ email: "me@acme.test" });
}

import fc from 'fast-check'

/**
 * Properties are tried on the same draws in every run, so that a change is red for what it changed.
 * `PROPERTY_SEED=<any integer>` draws others.
 */
fc.configureGlobal({ seed: Number(process.env.PROPERTY_SEED ?? 20261129) })

export { default } from 'fast-check'

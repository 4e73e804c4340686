import fc from 'fast-check';

/**
 * A property that fails is shrunk, and that may take hours where one run of it starts a process: after this time it
 * reports what it has.
 */
fc.configureGlobal({ interruptAfterTimeLimit: 120_000, markInterruptAsFailure: true });

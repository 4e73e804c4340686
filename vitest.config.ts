import { defineConfig } from 'vitest/config';

const packages = [
  'errors',
  'protocol',
  'service',
  'wire',
  'plots',
  'client',
  'containerd',
  'snapshotter',
  'daemon',
  'kubernetes',
  'supernode',
  'lab',
  'cli',
  'bench',
];

/** Files of a level that run at the same time. Integration tests wait for most of their time; end-to-end tests start whole hosts. */
const workers: Readonly<Record<string, number>> = { integration: 3, e2e: 2 };

/** One vitest project per level, so that a level can be run alone: `vitest run --project unit`. */
export default defineConfig({
  test: {
    // Of a file's tests, where it lets them run at the same time.
    maxConcurrency: 2,
    projects: ['unit', 'integration', 'e2e'].map((level, order) => ({
      test: {
        name: level,
        setupFiles: ['scripts/properties.ts', 'scripts/compile-cache.ts'],
        include: packages.map((folder) => `${folder}/test/${level}/**/*.test.ts`),
        testTimeout: level === 'unit' ? 60_000 : 300_000,
        // On a fresh machine what is built for the tests takes minutes.
        hookTimeout: 30 * 60_000,
        // A condition is waited for as long as a busy machine may need.
        expect: { poll: { timeout: 30_000 } },
        maxWorkers: workers[level] ?? '100%',
        sequence: { groupOrder: order },
      },
    })),
  },
});

import { defineConfig } from 'vitest/config';

const packages = [
  'errors',
  'protocol',
  'service',
  'wire',
  'client',
  'snapshotter',
  'daemon',
  'supernode',
  'lab',
  'cli',
  'bench',
];

/** One vitest project per level, so that a level can be run alone: `vitest run --project unit`. */
export default defineConfig({
  test: {
    projects: ['unit', 'integration', 'e2e'].map((level) => ({
      test: {
        name: level,
        setupFiles: ['scripts/properties.ts'],
        include: packages.map((folder) => `${folder}/test/${level}/**/*.test.ts`),
        testTimeout: level === 'unit' ? 60_000 : 300_000,
        hookTimeout: 300_000,
        fileParallelism: level === 'unit',
      },
    })),
  },
});

import { describe, expect, test } from 'vitest';
import { runChaos } from '../../src/chaos/chaos.ts';

const isRoot = process.getuid?.() === 0;
const MINUTES = 60_000;

// Ten thousand kills are `npm run chaos`.
describe.skipIf(!isRoot)('whatever is killed while readers wait (needs root)', () => {
  test('gives no wrong byte, no error, and nobody waits for ever', { timeout: 10 * MINUTES }, async () => {
    const result = await runChaos({ kills: 1000, backend: 'fanotify', backing: 'auto' });
    console.info(
      `killed ${JSON.stringify(result.kills)}; the longest read took ${Math.round(result.longestReadMs)} ms`,
    );
    expect(result).toMatchObject({ wrong: [], failed: [], isContainerAlive: true });
    expect(result.longestReadMs).toBeLessThan(result.readDeadlineMs);
  });
});

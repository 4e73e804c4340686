import { expectTypeOf, test } from 'vitest';
import type { z } from 'zod';
import type * as shown from '../../../console/src/documents.ts';
import type {
  blobDetailSchema,
  hostSchema,
  overviewSchema,
  snapshotDetailSchema,
  statusSchema,
  topologySchema,
  whoAmISchema,
} from '../../../src/api/documents.ts';
import type { HostWork, Job } from '../../../src/jobs/index.ts';
import type { Policy } from '../../../src/policies/schema.ts';
import type { hookDocument, TrialAnswer } from '../../../src/webhooks/schema.ts';

test('the console shows what the API gives', () => {
  expectTypeOf<z.output<typeof statusSchema>>().toExtend<shown.Status>();
  expectTypeOf<z.output<typeof whoAmISchema>>().toExtend<shown.WhoAmI>();
  expectTypeOf<z.output<typeof hostSchema>>().toExtend<shown.Host>();
  expectTypeOf<z.output<typeof overviewSchema>>().toExtend<shown.Overview>();
  expectTypeOf<z.output<typeof topologySchema>>().toExtend<shown.Topology>();
  expectTypeOf<z.output<typeof blobDetailSchema>>().toExtend<shown.BlobDetail>();
  expectTypeOf<z.output<typeof snapshotDetailSchema>>().toExtend<shown.SnapshotDetail>();
  expectTypeOf<Job>().toExtend<shown.Job>();
  expectTypeOf<HostWork>().toExtend<shown.HostWork>();
  expectTypeOf<Policy>().toExtend<shown.Policy>();
  expectTypeOf<z.output<typeof hookDocument>>().toExtend<shown.Webhook>();
  expectTypeOf<TrialAnswer>().toExtend<shown.WebhookTrial>();
});

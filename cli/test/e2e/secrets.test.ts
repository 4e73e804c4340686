import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { SupernodeClient } from '@drakkar/client';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';

const MAIN = join(import.meta.dirname, '../../src/main.js');
const SECRET = 'what-the-sender-knows-0123456789';
const WRONG = 'what-somebody-guesses-0123456789';

test('what is secret of a webhook or a token stands in no log, no audit entry and no answer', async () => {
  await using directory = await temporaryDirectory('secrets');
  const stateDirectory = join(directory.path, 'state');
  const configPath = join(directory.path, 'supernode.json');
  const config = {
    ...{ stateDirectory, address: '127.0.0.1', port: 0, metrics: { port: 0 }, api: { port: 0 } },
    log: { level: 'trace' },
  };
  await writeFile(configPath, JSON.stringify(config));
  const child = spawn(process.execPath, [MAIN, 'supernode', '--config', configPath], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log = text(child.stderr);
  const local = new SupernodeClient({ socketPath: join(stateDirectory, 'admin.sock') });
  const signal = AbortSignal.timeout(60_000);
  while (!(await local.status({ signal }).then(Boolean, () => false))) await delay(20, undefined, { signal });
  const { apiUrl } = await local.status();
  const token = await local.createToken({ name: 'admin', role: 'admin' });
  const hook = await local.createWebhook({ name: 'generic', kind: 'generic', secret: SECRET });
  const { secret: made } = await local.createWebhook({ name: 'made', kind: 'ghcr' });

  const good = JSON.stringify({ images: ['registry.example/team/app:1'] });
  const signature = createHmac('sha256', SECRET).update(good).digest('hex');
  const basic = (secret: string) => Buffer.from(`x:${secret}`).toString('base64');
  const said: string[] = [];
  const send = async (path: string, headers: Record<string, string>, body: string, method = 'POST') => {
    const init = { method, headers: { 'content-type': 'application/json', ...headers }, body };
    const answer = await fetch(apiUrl + path, init);
    said.push(JSON.stringify([...answer.headers]), await answer.text());
    return answer.status;
  };
  const statuses: number[] = [];
  for (const body of [good, '{', '{"images": 7}'])
    for (const headers of [
      { authorization: `Bearer ${SECRET}` },
      { authorization: SECRET },
      { authorization: `Basic ${basic(SECRET)}` },
      { 'x-hub-signature-256': `sha256=${signature}` },
      { authorization: `Bearer ${WRONG}` },
      { authorization: `Basic ${basic(WRONG)}` },
    ] as Record<string, string>[]) {
      statuses.push(await send(hook.path, headers, body));
      statuses.push(await send(`${hook.path}?secret=${SECRET}&token=${token.text}`, headers, body));
    }
  expect(new Set(statuses)).toEqual(new Set([200, 400, 401]));

  const authorization = `Bearer ${token.text}`;
  const hooks = '/api/v1/webhooks';
  const broken = JSON.stringify({ name: 'Not So', kind: 'generic', secret: SECRET });
  expect(await send(hooks, { authorization }, broken)).toBe(400);
  const short = JSON.stringify({ name: 'ok', kind: 'generic', secret: `${SECRET} with a blank` });
  expect(await send(hooks, { authorization }, short)).toBe(400);
  const again = JSON.stringify({ name: 'generic', kind: 'generic', secret: SECRET });
  expect(await send(hooks, { authorization }, again)).toBe(409);
  expect(await send(`${hooks}?access_token=${token.text}`, {}, good)).toBe(401);
  expect(await send(`/api/v1/nowhere?token=${token.text}`, { authorization }, good)).toBe(404);
  expect(await send(`${hooks}/${hook.id}/try`, { authorization }, '{}')).toBe(200);
  expect(await send(`${hooks}/${hook.id}`, { authorization: `Bearer ${WRONG}` }, '', 'DELETE')).toBe(401);

  const documents = [
    await local.audit(500),
    await local.webhooks(),
    await local.deliveries(hook.id),
    await local.tokens(),
    await local.policies(),
    await local.jobs(),
  ];
  expect(documents.every((each) => each.length > 0 || each === documents.at(-1))).toBe(true);
  const metrics = await (await fetch((await local.status()).metricsUrl)).text();
  child.kill('SIGTERM');
  await once(child, 'exit');
  const everything = [await log, metrics, JSON.stringify(documents), ...said].join('\n');
  expect(everything).toContain('ready');
  for (const secret of [SECRET, WRONG, basic(SECRET), basic(WRONG), signature, made, token.text])
    expect(everything.includes(secret), secret).toBe(false);
});

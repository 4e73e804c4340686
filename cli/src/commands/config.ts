import { type Config, configuration, createDaemonMetrics, examineSurroundings } from '@drakkar/daemon';
import type { Configuration, Finding } from '@drakkar/service';
import { defineCommand } from '../command-line/command.ts';
import type { Context } from '../context.ts';

/** `drakkar config …` */
export const commands = [
  defineCommand({
    name: 'config default',
    summary: 'print a configuration with every key, its default and its meaning',
    positionals: [],
    options: { supernode: { summary: 'of the supernode' } },
    async run(context, _, { supernode }) {
      const { supernodeConfiguration } = await import('@drakkar/supernode');
      const { complete, defaultYaml } = supernode ? supernodeConfiguration : configuration;
      context.answer(complete({}), defaultYaml().trimEnd());
    },
  }),
  defineCommand({
    name: 'config check',
    summary: 'say all that is wrong in a configuration file: the one in use, or the one named',
    notes: 'What is allowed and hardly meant is a warning, on stderr.',
    positionals: ['[file]'],
    options: { supernode: { summary: 'of the supernode' } },
    async run(context, [file], { supernode }) {
      const path = file ?? context.configPath;
      if (supernode) {
        const { supernodeConfiguration } = await import('@drakkar/supernode');
        const checked = await checkFile(context, supernodeConfiguration, path);
        context.answer(checked, VALID);
        return;
      }
      const checked = await checkFile(context, configuration, path, examineSurroundings);
      context.answer(withoutSecrets(checked), VALID);
    },
  }),
  defineCommand({
    name: 'config document',
    summary: 'print docs/configuration.md, or docs/supernode-configuration.md',
    hidden: true,
    positionals: [],
    options: { supernode: { summary: 'of the supernode' } },
    async run(context, _, { supernode }) {
      const { supernodeConfiguration } = await import('@drakkar/supernode');
      context.answer({}, (supernode ? supernodeConfiguration : configuration).document().trimEnd());
    },
  }),
  defineCommand({
    name: 'config metrics',
    summary: 'print docs/METRICS.md',
    hidden: true,
    positionals: [],
    options: {},
    run: async (context) => context.answer({}, (await metricsDocument()).trimEnd()),
  }),
];

const VALID = 'the configuration is valid';

/** Says what is strange; @throws `invalid_argument` with all that is wrong */
async function checkFile<Checked>(
  context: Context,
  { read, check, complete, refuse }: Configuration<Checked>,
  path: string | undefined,
  examineMore: (config: Checked) => Promise<Finding[]> = async () => [],
): Promise<Checked> {
  const raw = await read(path);
  const { config, findings } = check(raw);
  const all = config === undefined ? findings : [...findings, ...(await examineMore(config))];
  for (const { setting, severity, message } of all) {
    if (severity === 'warning') context.say(`warning: ${setting}: ${message}`);
  }
  refuse(all, path);
  return config ?? complete(raw, path);
}

/** docs/METRICS.md, whole. */
export async function metricsDocument(): Promise<string> {
  const [{ createSupernodeMetrics }, { metricsTable }] = await Promise.all([
    import('@drakkar/supernode'),
    import('@drakkar/service'),
  ]);
  const { registry } = createSupernodeMetrics();
  return [
    '# Metrics',
    '',
    'For Prometheus, at `/metrics` of the address that `metrics` in the configuration names. Units stand in the names.',
    '',
    '## Daemon',
    '',
    await metricsTable(createDaemonMetrics()),
    '',
    '## Supernode',
    '',
    await metricsTable(registry),
    '',
    '<!-- Printed from daemon/src/metrics.ts and supernode/src/metrics.ts by `drakkar config metrics`; a test keeps them equal. -->',
    '',
  ].join('\n');
}

/** What is printed ends in logs. */
function withoutSecrets(config: Config): object {
  const credentials = config.registries.credentials.map(({ password, ...rest }) => ({
    ...rest,
    ...(password === undefined ? {} : { password: '…' }),
  }));
  const swarm = { ...config.swarm, joinToken: config.swarm.joinToken === null ? null : '…' };
  return { ...config, swarm, registries: { ...config.registries, credentials } };
}

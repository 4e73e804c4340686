import { type Config, configuration } from '@drakkar/daemon';
import { defineCommand } from '../command-line/command.ts';

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
    summary: 'say what is wrong in a configuration file: the one in use, or the one named',
    positionals: ['[file]'],
    options: {},
    async run(context, [file]) {
      const checked = file === undefined ? await context.config() : await configuration.load(file);
      context.answer(withoutSecrets(checked), 'the configuration is valid');
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
];

/** What is printed ends in logs. */
function withoutSecrets(config: Config): object {
  const credentials = config.registries.credentials.map(({ password, ...rest }) => ({
    ...rest,
    ...(password === undefined ? {} : { password: '…' }),
  }));
  const swarm = { ...config.swarm, joinToken: config.swarm.joinToken === null ? null : '…' };
  return { ...config, swarm, registries: { ...config.registries, credentials } };
}

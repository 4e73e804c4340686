import { type Config, configuration } from '@drakkar/daemon';
import { defineCommand } from '../command-line/command.ts';

/** `drakkar config …` */
export const commands = [
  defineCommand({
    name: 'config default',
    summary: 'print a configuration with every key, its default and its meaning',
    positionals: [],
    options: {},
    run: async (context) => context.answer(configuration.complete({}), configuration.defaultYaml().trimEnd()),
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
    summary: 'print docs/configuration.md',
    hidden: true,
    positionals: [],
    options: {},
    run: async (context) => context.answer({}, configuration.document().trimEnd()),
  }),
];

/** What is printed ends in logs. */
function withoutSecrets(config: Config): object {
  const credentials = config.registries.credentials.map(({ password, ...rest }) => ({
    ...rest,
    ...(password === undefined ? {} : { password: '…' }),
  }));
  return { ...config, registries: { ...config.registries, credentials } };
}

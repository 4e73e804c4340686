import {
  type Config,
  completeConfig,
  configurationDocument,
  defaultConfigYaml,
  loadConfig,
} from '@drakkar/daemon';
import type { Command } from 'commander';
import type { Run } from './command.ts';

/** `drakkar config …` */
export function configCommand(program: Command, run: Run): void {
  const config = program.command('config').description('the configuration file');
  config
    .command('default')
    .description('print a configuration with every key, its default and its meaning')
    .action(run(async (context) => context.answer(completeConfig({}), defaultConfigYaml().trimEnd())));
  config
    .command('check')
    .argument('[file]', 'configuration file; the one in use where absent')
    .description('say what is wrong in a configuration file')
    .action(
      run(async (context, file?: string) => {
        const checked = file === undefined ? await context.config() : await loadConfig(file);
        context.answer(withoutSecrets(checked), 'the configuration is valid');
      }),
    );
  config
    .command('document', { hidden: true })
    .description('print docs/configuration.md')
    .action(run(async (context) => context.answer({}, configurationDocument().trimEnd())));
}

/** What is printed ends in logs. */
function withoutSecrets(config: Config): object {
  const credentials = config.registries.credentials.map(({ password, ...rest }) => ({
    ...rest,
    ...(password === undefined ? {} : { password: '…' }),
  }));
  return { ...config, registries: { ...config.registries, credentials } };
}

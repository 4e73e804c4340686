import { defineCommand } from '../command-line/command.ts';
import { PLATFORM } from '../command-line/options.ts';
import { runImage } from '../run/run-image.ts';

/** `drakkar run IMAGE [-- CMD…]`: a container from a snapshot, with the timeline of its start. */
export const commands = [
  defineCommand({
    name: 'run',
    summary: 'start a container from an image’s snapshot and print the timeline',
    notes:
      'What stands after -- runs instead of the image’s command. With --json the container’s own output goes to stderr.',
    positionals: ['<image>', '[command...]'],
    options: {
      platform: PLATFORM,
      env: {
        short: 'e',
        value: 'name=value',
        multiple: true,
        summary: 'set an environment variable; NAME alone passes yours on',
      },
      workdir: { short: 'w', value: 'dir', summary: 'working directory' },
      user: { short: 'u', value: 'user', summary: 'user, by name or number, with :group or without' },
      entrypoint: { value: 'program', summary: 'instead of the image’s entrypoint' },
      interactive: { short: 'i', summary: 'pass stdin on' },
      tty: { short: 't', summary: 'give it a terminal' },
      net: {
        value: 'network',
        choices: ['host', 'none'],
        default: 'host',
        summary: 'the host’s network, or none',
      },
    },
    async run(context, [image, command], flags) {
      const report = await runImage(context, image, command, flags);
      if (context.json) context.answer(report, '');
      else context.say((await import('../run/report.ts')).describeRun(report));
      process.exitCode = report.exitCode;
    },
  }),
];

// A board at a serial port, by esptool-js, which is loaded when the first one is connected.
import type { ESPLoader, Transport } from 'esptool-js';
import { chipOf, layoutProblem, Part } from './flash-plan';
import { md5 } from './md5';

const BAUD = 460_800;
const ROM_BAUD = 115_200;

/** Web Serial, as far as it is needed here: TypeScript's own types know nothing of it. */
interface Serial {
  requestPort(): Promise<ConstructorParameters<typeof Transport>[0]>;
}

export function serial(): Serial | null {
  return window.isSecureContext ? ((navigator as { serial?: Serial }).serial ?? null) : null;
}

export class Board {
  private constructor(
    private readonly loader: ESPLoader,
    private readonly transport: Transport,
    /** As the server names it; null: none that it knows. */
    readonly chip: string | null,
    /** In the tool's words: "ESP32-S3 (QFN56) (revision v0.2)". */
    readonly description: string,
    /** Where its ROM looks for the boot loader. */
    readonly bootloader: number,
    /** Bytes; null: it could not be told. */
    readonly flashSize: number | null,
  ) {}

  /** Lets the person choose a port and talks to the board there; null: none was chosen. */
  static async connect(log: (line: string) => void, lost: () => void): Promise<Board | null> {
    let port;
    try {
      port = await serial()!.requestPort();
    } catch (error) {
      if ((error as DOMException).name === 'NotFoundError') return null;
      throw error;
    }
    const { ESPLoader, Transport } = await import('esptool-js');
    const transport = new Transport(port, false);
    transport.setDeviceLostCallback(lost);
    let line = '';
    const terminal = {
      clean: () => {},
      write: (text: string) => (line += text),
      writeLine: (text: string) => {
        log(line + text);
        line = '';
      },
    };
    const loader = new ESPLoader({ transport, baudrate: BAUD, romBaudrate: ROM_BAUD, terminal });
    try {
      const description = await loader.main();
      const size = loader.secureDownloadMode ? undefined : await loader.detectFlashSize();
      return new Board(
        loader,
        transport,
        chipOf(loader.chip.CHIP_NAME),
        description,
        loader.chip.BOOTLOADER_FLASH_OFFSET,
        size ? loader.flashSizeBytes(size as '4MB') : null,
      );
    } catch (error) {
      await close(transport);
      if ((error as DOMException).name === 'NetworkError')
        throw new Error('The port could not be opened. Another program, such as a serial monitor, may have it open.');
      throw error;
    }
  }

  /** Writes, compares each part with what the flash then holds, and restarts the board. Fails unless all of it went well. */
  async write(parts: Part[], eraseAll: boolean, progress: (part: number, share: number) => void): Promise<void> {
    const problem = layoutProblem(parts, this.flashSize);
    if (problem) throw new Error(problem);
    if (eraseAll && !this.loader.IS_STUB) throw new Error('This chip cannot be erased as a whole from here.');
    await this.loader.writeFlash({
      fileArray: parts.map(({ data, address }) => ({ data, address })),
      flashMode: 'keep',
      flashFreq: 'keep',
      flashSize: 'keep',
      eraseAll,
      compress: true,
      reportProgress: (part, written, total) => progress(part, written / total),
      calculateMD5Hash: md5,
    });
    await this.loader.after('hard_reset');
  }

  close(): Promise<void> {
    return close(this.transport);
  }
}

async function close(transport: Transport): Promise<void> {
  try {
    await transport.disconnect();
  } catch {
    /* it was pulled out, or closed before */
  }
}

import {
  address,
  bootloaderAddress,
  chipOf,
  contentProblem,
  esptoolCommand,
  imageChip,
  layoutProblem,
} from './flash-plan';

const image = (chip: number, size = 32) => {
  const data = new Uint8Array(size);
  data[0] = 0xe9;
  data[12] = chip;
  return data;
};
const part = (what: string, at: number, size: number) => ({ what, address: at, data: new Uint8Array(size) });

describe('flash plan', () => {
  it('knows where boot loaders are', () => {
    expect(bootloaderAddress('esp32')).toBe(0x1000);
    expect(bootloaderAddress('esp32s2')).toBe(0x1000);
    expect(bootloaderAddress('esp32c5')).toBe(0x2000);
    expect(bootloaderAddress('esp32p4')).toBe(0x2000);
    expect(bootloaderAddress('esp32s3')).toBe(0);
    expect(bootloaderAddress(null)).toBeNull();
  });

  it('knows chips by the names that the tool tells', () => {
    expect(chipOf('ESP32')).toBe('esp32');
    expect(chipOf('ESP32-S3')).toBe('esp32s3');
    expect(chipOf('ESP32-C61')).toBe('esp32c61');
    expect(chipOf('ESP8266')).toBeNull();
  });

  it('reads addresses', () => {
    expect(address('0x1000')).toBe(4096);
    expect(address(' 4096 ')).toBe(4096);
    expect(address('')).toBeNull();
    expect(address('1000h')).toBeNull();
    expect(address('0x100000000')).toBeNull();
  });

  it('reads the chip of an image', () => {
    expect(imageChip(image(9))).toBe('esp32s3');
    expect(imageChip(new Uint8Array(32))).toBeNull();
    expect(imageChip(image(9, 8))).toBeNull();
  });

  it('refuses what is no image, or one for another chip', () => {
    expect(contentProblem('application', image(0), 'esp32')).toBeNull();
    expect(contentProblem('application', image(9), 'esp32')).toContain('for esp32s3');
    expect(contentProblem('application', new Uint8Array(32), 'esp32')).toContain('no ESP32 image');
    expect(contentProblem('partition table', new Uint8Array([0xaa, 0x50, 1]), null)).toBeNull();
    expect(contentProblem('partition table', image(0), null)).toContain('begins otherwise');
    expect(contentProblem('boot loader', new Uint8Array(0), null)).toContain('empty');
  });

  it('refuses parts that overlap, lie askew or do not fit', () => {
    const good = [part('application', 0x10000, 0x100000), part('boot loader', 0x1000, 0x6000)];
    expect(layoutProblem(good, 0x400000)).toBeNull();
    expect(layoutProblem(good, 0x100000)).toContain('the flash has 0x100000');
    expect(layoutProblem([part('boot loader', 0, 0x8001), part('partition table', 0x8000, 9)], null)).toContain(
      'reaches',
    );
    expect(layoutProblem([part('boot loader', 0x1200, 9)], null)).toContain('multiple of 0x1000');
  });

  it('writes the command for esptool', () => {
    const parts = [
      { address: 0x10000, name: 'my app.bin' },
      { address: 0x1000, name: 'bootloader.bin' },
    ];
    expect(esptoolCommand(parts, 'esp32', true)).toBe(
      "esptool --chip esp32 write_flash --erase-all 0x1000 bootloader.bin 0x10000 'my app.bin'",
    );
    expect(esptoolCommand(parts, null, false)).toContain('--chip auto write_flash 0x1000');
  });
});

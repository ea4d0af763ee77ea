import { md5 } from './md5';

const of = (text: string) => md5(new TextEncoder().encode(text));

// RFC 1321, A.5
describe('md5', () => {
  it('is what the RFC says', () => {
    expect(of('')).toBe('d41d8cd98f00b204e9800998ecf8427e');
    expect(of('abc')).toBe('900150983cd24fb0d6963f7d28e17f72');
    expect(of('message digest')).toBe('f96b697d7cb7938d525a2f31aaf161d0');
    expect(of('12345678901234567890123456789012345678901234567890123456789012345678901234567890')).toBe(
      '57edf4a22be3c955ac49da2e2107b67a',
    );
  });

  it('pads at the edges of blocks', () => {
    expect(of('a'.repeat(55))).toBe('ef1772b6dff9a122358552954ad0df65');
    expect(of('a'.repeat(56))).toBe('3b0c8ac703f828b04c6c197006d17218');
    expect(of('a'.repeat(64))).toBe('014842d480b571495a4a0363793f7367');
  });
});

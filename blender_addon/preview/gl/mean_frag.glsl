// The mean of the samples of each pixel of a tile.
void main()
{
  int side = int(frame.settings.y);
  ivec2 first = (ivec2(gl_FragCoord.xy) - ivec2(frame.tile.xy)) * side;
  vec4 total = vec4(0.0);
  for (int row = 0; row < side; row++) {
    for (int column = 0; column < side; column++) {
      total += texelFetch(samples, first + ivec2(column, row), 0);
    }
  }
  drawn_color = min(total / float(side * side), vec4(65504.0));
}

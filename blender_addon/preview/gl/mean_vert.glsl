void main()
{
  gl_Position = vec4(mix(frame.bounds.xy, frame.bounds.zw, position * 0.5 + 0.5), 0.0, 1.0);
}

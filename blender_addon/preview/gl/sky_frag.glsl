void main()
{
  drawn_color = vec4(clamp(sample_atlas(ray, 0.0), vec3(0.0), vec3(LARGEST_HALF)), 1.0);
}
